"""`bksi doctor`: looks at everything the system stands on, and says what is wrong and how to mend it."""
