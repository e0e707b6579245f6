"""The imaging order gateway: orders in, a worklist the receptionist controls, studies out."""
