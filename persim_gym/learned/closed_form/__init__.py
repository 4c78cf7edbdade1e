"""The low-rank model in a polynomial basis, fitted in closed form."""
