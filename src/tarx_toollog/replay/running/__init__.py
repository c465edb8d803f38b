"""Running: putting a suite to model servers, from several processes, so that nothing is asked twice or lost."""
