"""The nodes of each kind of block, for every family that is made of these (see `deploy.graph`)."""
