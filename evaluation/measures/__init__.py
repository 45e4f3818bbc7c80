"""What the answers are worth: measures by query, and what can be concluded from them."""
