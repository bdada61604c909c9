"""What is meant by what an environment says: returns, observations, actions."""
