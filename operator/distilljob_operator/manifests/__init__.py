"""From the resource to the Kubernetes objects that carry it out. Pure: plain JSON types in, plain JSON types out."""
