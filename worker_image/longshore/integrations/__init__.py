"""Other people's libraries at work beside Longshore. Each module needs the extra of its name."""
