"""An application of Longshore: handlers that render pictures into a folder."""
