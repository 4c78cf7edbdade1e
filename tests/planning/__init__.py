"""Planning: the objective, the searches, and the MPC policy over them."""
