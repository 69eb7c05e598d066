"""Samplers: from noise to z_0 along an explicit list of timesteps, one part per solver."""

from vcmaug.generate.samplers.base import Position, Sampler
from vcmaug.generate.samplers.ddim import DDIM
from vcmaug.generate.samplers.ddpm import DDPM
from vcmaug.generate.samplers.dpmpp_2m import DPMpp2M
from vcmaug.generate.samplers.dpmpp_2m_sde import DPMpp2MSDE
from vcmaug.generate.samplers.heun import Heun

__all__ = ["DDIM", "DDPM", "DPMpp2M", "DPMpp2MSDE", "Heun", "Position", "Sampler"]
