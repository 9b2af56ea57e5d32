"""The kinds of networks that come with the package, one a folder, which register at first use."""
