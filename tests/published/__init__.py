"""Deploy files in the shape of the published ones, run to their end by a whole daemon on embedded clusters."""
