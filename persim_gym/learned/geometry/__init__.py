"""What coordinates are: angles, circles, clocks and walls, found in data or declared."""
