"""Who is told what, by which channel, and how many claims are on the road."""
