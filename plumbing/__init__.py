"""What any process stands on. No request passes here, and nothing here knows the product."""
