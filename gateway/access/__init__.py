"""Access: who may call (keys), how much (limits, budgets), at what price, and what was used."""
