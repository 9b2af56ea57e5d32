"""The kinds of networks that come with the package, one a folder, registered when they are first asked for."""
