"""How each method is trained: data, schedule, optimiser; one file per method."""
