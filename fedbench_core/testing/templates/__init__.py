"""The templates of `fedbench plugin new`: a plugin of each kind, with the name `example`."""
