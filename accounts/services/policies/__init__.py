"""Cedar policies, and the decisions that they make about acts."""
