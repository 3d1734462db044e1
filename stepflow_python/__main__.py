"""`python -m stepflow_python` is the `stepflow` command."""

from stepflow_python.cli.main import main

if __name__ == "__main__":
    main()
