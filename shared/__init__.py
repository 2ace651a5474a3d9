"""What both doors agree on."""
