pytest_plugins = ["local_stack.testing"]
