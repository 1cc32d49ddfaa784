"""What the system does in a second, side by side with what else one could have built. See README.md here."""
