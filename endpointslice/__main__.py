"""`python -m endpointslice` is `endpointslice`."""

from endpointslice.cli import main

if __name__ == "__main__":
    main()
