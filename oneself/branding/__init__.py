"""The look of a deployment: product name, logo, colour, support address and app."""
