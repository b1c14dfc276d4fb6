"""What strangers, and people with a part of the rights, can try on Headgate."""
