"""The door for users: the `distilljob` command and `import distilljob`."""
