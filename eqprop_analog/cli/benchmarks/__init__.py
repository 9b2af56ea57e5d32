"""What `eqprop-analog bench` measures: a module each, with add_options and run as a command has them."""
