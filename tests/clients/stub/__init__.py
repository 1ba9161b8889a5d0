"""The vendors' APIs, small and made up, for their own SDKs to be driven against through the gate."""
