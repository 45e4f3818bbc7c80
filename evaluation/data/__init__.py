"""What is evaluated: queries, their candidates in the incoming order, and what is known to be relevant."""
