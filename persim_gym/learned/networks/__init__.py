"""The paper's networks, fitted by gradient descent."""
