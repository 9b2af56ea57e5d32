"""Crossbars, the connections between two layers of a resistive network, as operators; one file for each kind."""

from eqprop_analog.networks.crossbars.convolution import Convolution
from eqprop_analog.networks.crossbars.crossbar import Crossbar, Ports
from eqprop_analog.networks.crossbars.dense import Dense
from eqprop_analog.networks.crossbars.pooling import AveragePooling
from eqprop_analog.networks.crossbars.registry import crossbar_from, register

__all__ = ["AveragePooling", "Convolution", "Crossbar", "Dense", "Ports", "crossbar_from", "register"]
