"""Working hours and the days that are not like other days of the week, as data."""
