"""What is compared: suites, the runs that they ask for, and the records that are filed under them."""
