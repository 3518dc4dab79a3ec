"""Our tools and the package's tests in the images that are shipped, run by podman."""
