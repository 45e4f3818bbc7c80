"""What was found, as a value, and how it is shown: in a terminal, as JSON, as one page of HTML."""
