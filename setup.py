# All but the native kernel is in pyproject.toml. The kernel is a plain C library that ctypes loads: one build serves
# every Python, and where it cannot be built zarrds works without it.
import os
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

NAME = "zarrds.engine.kernel.native.kernel"  # a folder without __init__.py: nobody takes it for a module


class BuildKernel(build_ext):
    """Builds a library that exports the kernel's functions, and none for Python."""

    def get_ext_filename(self, fullname):
        return fullname.replace(".", "/") + ".so"

    def get_export_symbols(self, ext):
        return []

    def was_built(self):
        return any(os.path.isfile(path) for path in self.get_outputs())


class KernelWheel(bdist_wheel):
    """A wheel for every Python of a platform, or, if the kernel could not be built, for every platform."""

    def run(self):
        self.run_command("build_ext")
        if not self.get_finalized_command("build_ext").was_built():
            self.distribution.ext_modules = []
            self.root_is_pure = True
        super().run()

    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", platform


kernel = Extension(
    NAME,
    sources=sorted(glob("zarrds/engine/kernel/native/*.c")),
    depends=["zarrds/engine/kernel/native/kernel.h"],
    extra_compile_args=["-std=c11", "-O3", "-g0", "-fvisibility=hidden", "-fno-strict-aliasing"],
    optional=True,
)

setup(
    ext_modules=[] if sys.platform == "win32" else [kernel],
    cmdclass={"build_ext": BuildKernel, "bdist_wheel": KernelWheel},
)
