"""Ceph RBD, through the `rbd` and `ceph` programs; and the rendering of a site's cluster."""
