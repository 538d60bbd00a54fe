"""What was measured, as tables: csv with all the numbers; md, tex and html as people read them."""
