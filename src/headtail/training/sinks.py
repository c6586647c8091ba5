class _S:
    def write(self,*a,**k): pass
    def close(self): pass
def open_sinks(*a,**k): return _S()
