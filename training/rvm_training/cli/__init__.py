"""The subcommands of `rvm`, one module each with `main(arguments)`; see `rvm_training.__main__`."""
