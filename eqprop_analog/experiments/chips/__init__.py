"""Chips: what a specification of imperfections delivers, how a network is brought onto it, and statistics over many."""
