"""The contract: what every registered environment keeps, true or learned."""
