"""The networks of the control methods; `control.methods` holds their settings."""
