"""What needs Numba itself: to compile a kernel to machine code, and to run one that no other way can run."""

import functools
import sys
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, typeof, types
from numba.core import compiler
from numba.core.caching import FunctionCache
from numba.core.errors import NumbaError
from numba.core.runtime.nrt import rtsys
from numba.extending import typeof_impl

from vqaudio.kernels import calling, notice, object_code

_NEEDS_NUMBA = "NRT_", "numba_", "Py"  # how what only Numba has begins: memory, helpers, and the interpreter's objects


class _Cache(FunctionCache):
    """Numba's, but that code which lies ready is fetched without all that compiling needs: that takes 0.2 s to import,
    and 0.6 s where SciPy is installed."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for arguments of the types ``sig``, or None where it must be compiled."""
        rtsys.initialize(target_context)  # what compiled code calls
        with self._guard_against_spurious_io_errors():
            found = self._load_overload(sig, target_context)
            if found is not None:
                return found
        notice.compiling()
        return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]


@functools.cache
def let_numba_see(kernels: type) -> None:
    """Lets compiled code call objects of the class ``kernels``, by their ``dispatcher``."""

    def seen(kernel: Any, context: object) -> Any:
        return types.Dispatcher(kernel.dispatcher)

    typeof_impl.register(kernels, seen)


def dispatcher(function: Callable[..., Any], licences: frozenset[str]) -> Any:
    """``function`` as Numba compiles, keeps and runs it."""
    kernel = njit(function, cache=True, nogil=True, error_model="numpy", fastmath=set(licences) or False)
    kernel._cache = _Cache(function)
    return kernel


def machine_code(kernel: Any, arguments: tuple[Any, ...]) -> object_code.Code | None:
    """The code of a ``dispatcher`` for these arguments, or None where it cannot run without Numba.

    That is where it gives something back, allocates, calls what Numba alone has, takes arguments in another way than
    :mod:`vqaudio.kernels.calling` does, or is made for another processor than Numba's settings in the environment say.
    """
    if sys.platform != "linux" or kernel.targetctx.codegen().magic_tuple() != object_code.processor():
        return None
    notice.compiling()
    values = [calling.plain(argument) for argument in arguments]
    try:
        symbol, function, body = _object_file(kernel, tuple(map(typeof, values)))
    except (NumbaError, AttributeError):  # as where it gives something back; or this Numba has other insides
        return None
    taken = ["pointer" if isinstance(one, ir.PointerType) else str(one) for one in function.args]
    needs = object_code.undefined(body)
    if needs is not None:
        needs = tuple(name for name in needs if name != object_code.RELEASE)
    if taken != ["pointer", "pointer", *(one for value in values for one in calling.llvm_types(value))]:
        return None
    if needs is None or any(name.startswith(_NEEDS_NUMBA) for name in needs):
        return None
    return object_code.Code(f"door.{symbol}", needs, body, object_code.compiled(_door(symbol, function)))


def _object_file(kernel: Any, kinds: tuple[Any, ...]) -> tuple[str, Any, bytes]:
    """The name of the function for arguments of ``kinds``, its type, and its object file."""
    context = kernel.targetctx
    flags: Any = compiler.Flags()
    kernel.targetdescr.options.parse_as_flags(flags, kernel.targetoptions)
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    made = compiler.compile_extra(kernel.typingctx, context, kernel.py_func, kinds, types.none, flags, kernel.locals)
    symbol = made.fndesc.llvm_func_name
    made.library.get_pointer_to_function(symbol)  # which makes the file
    function = context.call_conv.get_function_type(types.none, kinds)
    return symbol, function, made.library._get_compiled_object()


def _door(symbol: str, function: Any) -> str:
    """A module whose function takes the address of arguments, packed as :mod:`vqaudio.kernels.calling` says, and calls
    ``symbol`` of the type ``function`` with them; it gives back that one's status."""
    eight, module = ir.IntType(64), ir.Module()
    module.triple = object_code.processor()[0]
    called = ir.Function(module, function, symbol)
    door = ir.Function(module, ir.FunctionType(ir.IntType(32), [eight.as_pointer()]), f"door.{symbol}")
    builder = ir.IRBuilder(door.append_basic_block())
    given = [builder.alloca(kind.pointee) for kind in function.args[:2]]  # what is given back, and errors: never read
    for place, kind in enumerate(function.args[2:]):
        word = builder.load(builder.gep(door.args[0], [ir.Constant(eight, place)]))
        if isinstance(kind, ir.PointerType):
            given.append(builder.inttoptr(word, kind))
        elif isinstance(kind, ir.DoubleType):
            given.append(builder.bitcast(word, kind))
        elif isinstance(kind, ir.FloatType):
            given.append(builder.bitcast(builder.trunc(word, ir.IntType(32)), kind))
        else:
            given.append(word if kind == eight else builder.trunc(word, kind))
    builder.ret(builder.call(called, given))
    return str(module)
