"""Tables built from an event log: see EventsSource for what a row is and what its features may know."""
