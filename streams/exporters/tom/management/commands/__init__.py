"""One module a command, named as the command. Imports Django and the app that they belong to."""
