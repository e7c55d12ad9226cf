"""What `fedbench plugin new` starts from: a plugin of each kind, by the name `example`."""
