"""The daemon's page for browsers: one HTML file, its modules and its style, as they are sent. It holds nothing: whatever it
shows, it asks the API for, with the token of the person who looks at it."""
