"""The kinds of networks that come with the package, one a module, registered when they are first asked for."""
